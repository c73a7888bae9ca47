"""A small Ray with `llamachat.ray:app`: `ray_driver.py PORT`.

Each line of its input are arguments to deploy, in JSON. It says `ready` when they are deployed, and ends Ray
at the end of its input.
"""

from __future__ import annotations

import json
import sys

import ray
from ray import serve

from llamachat.ray import app

if __name__ == "__main__":
    ray.init(include_dashboard=False, num_cpus=16, log_to_driver=False, logging_level="error")
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    for line in sys.stdin:
        serve.run(app(json.loads(line)), name="llamachat")
        print("ready", flush=True)  # noqa: T201
    serve.shutdown()
    ray.shutdown()
