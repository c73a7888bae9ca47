// What the page says, in English and Chinese. English is the source; a test compares the keys.

const en = {
  more: "More", newChat: "New chat", search: "Search", searchHint: "Search all conversations", menu: "Conversations", send: "Send", stop: "Stop",
  message: "Message", hint: "Enter sends, Shift-Enter starts a new line", copy: "Copy", copied: "Copied", edit: "Edit", retry: "Retry",
  goOn: "Continue", undo: "Undo", pin: "Keep in the context window", unpin: "Stop keeping it in the context window", rename: "Rename", keep: "Pin to the top", unkeep: "Unpin",
  remove: "Delete", reallyRemove: "Delete this conversation for good?", export: "Export", importIt: "Import", settings: "Settings", system: "System message",
  cancel: "Cancel", close: "Close", you: "You", model: "Model", thought: "Thinking", thinking: "Thinking …", summary: "Summary of earlier messages",
  stopped: "stopped", length: "cut off at max_tokens", error: "cut off by an error", outside: "outside the context window", branch: "Version",
  previous: "Previous version", next: "Next version", reading: "Reading the prompt", waiting: "Waiting behind", others: "other requests", other: "other request", lost: "The connection is lost. Trying again …",
  gone: "llamachat does not answer. Is `llamachat web` still running?", signedOut: "This address needs its key. Open the address that `llamachat web` printed.",
  templates: "Templates", attach: "Attach a file", picture: "Picture", lines: "lines pasted", unfold: "Show", nothing: "Nothing found.", empty: "Ask anything.", window: "Context window", tokens: "tokens", perSecond: "tokens/s",
  default: "default", untitled: "New conversation", answerDone: "The answer is complete.", toEnd: "Jump to the end", shortcuts: "Ctrl-K search · Ctrl-Shift-O new chat · Esc stop",
  dropHere: "Drop files to attach them", done: "done", open: "to do",
};

const zh = {
  more: "更多", newChat: "新对话", search: "搜索", searchHint: "搜索全部对话", menu: "对话列表", send: "发送", stop: "停止",
  message: "输入消息", hint: "回车发送，Shift+回车换行", copy: "复制", copied: "已复制", edit: "编辑", retry: "重新生成",
  goOn: "继续生成", undo: "撤销", pin: "固定在上下文中", unpin: "取消固定", rename: "重命名", keep: "置顶", unkeep: "取消置顶",
  remove: "删除", reallyRemove: "彻底删除这个对话吗？", export: "导出", importIt: "导入", settings: "设置", system: "系统消息",
  cancel: "取消", close: "关闭", you: "你", model: "模型", thought: "思考过程", thinking: "思考中……", summary: "较早对话的摘要",
  stopped: "已停止", length: "已达到 max_tokens 上限", error: "因出错中断", outside: "已移出上下文窗口", branch: "版本",
  previous: "上一个版本", next: "下一个版本", reading: "正在读取提示词", waiting: "排队中，前面还有", others: "个请求", other: "个请求", lost: "连接已断开，正在重试……",
  gone: "llamachat 没有响应。`llamachat web` 还在运行吗？", signedOut: "这个地址需要密钥。请打开 `llamachat web` 启动时显示的地址。",
  templates: "模板", attach: "添加文件", picture: "图片", lines: "行粘贴内容", unfold: "展开", nothing: "没有找到匹配的对话。", empty: "有什么想问的？", window: "上下文窗口", tokens: "token", perSecond: "token/秒",
  default: "默认", untitled: "新对话", answerDone: "回答完毕。", toEnd: "跳到末尾", shortcuts: "Ctrl-K 搜索 · Ctrl-Shift-O 新对话 · Esc 停止",
  dropHere: "松开鼠标即可添加文件", done: "已完成", open: "未完成",
};

export const language = navigator.languages?.[0]?.toLowerCase().startsWith("zh") ? "zh" : "en";
export const words = language === "zh" ? zh : en;
export const all = { en, zh };
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
