// The signs on buttons, as strokes on a field of 24 by 24.

import { html } from "/static/vendor/lit-html.js";

const STROKES = {
  menu: "M4 6h16M4 12h16M4 18h16",
  settings: "M4 7h9M19 7h1M4 17h3M13 17h7M16 4v6M10 14v6",
  edit: "M4 20l1-5L16 4l4 4L9 19zM14 6l4 4",
  undo: "M9 6L4 11l5 5M4 11h10a5 5 0 0 1 0 10h-3",
  retry: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  done: "M4 12l5 5L20 6",
  pin: "M9 3h6l-1 7 4 4H6l4-4zM12 14v7",
  close: "M6 6l12 12M18 6L6 18",
  attach: "M12 5v14M5 12h14",
  template: "M5 4h14v16H5zM9 9h6M9 13h6",
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  down: "M12 5v14M6 13l6 6 6-6",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  star: "M12 4l2.5 5.2 5.5.8-4 4 1 5.6-5-2.7-5 2.7 1-5.6-4-4 5.5-.8z",
};

export const sign = (name) => html`<svg class="sign" viewBox="0 0 24 24" aria-hidden="true"><path d=${STROKES[name]}></path></svg>`;
