"""The C++ side of the chat-template oracle: one process that renders a job for each line."""
import json
import os
import subprocess

# What transformers' strftime_now() is made to show, and what the C++ side is given.
NOW_SECONDS = 1_735_732_805  # 2025-01-01 12:00:05 UTC


class Renderer:
    def __init__(self):
        path = os.environ.get("TROUPE_RENDER_TEMPLATE")
        if not path:
            raise RuntimeError("TROUPE_RENDER_TEMPLATE must name the render_template executable")
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template, messages, tools=None, add_generation_prompt=True, variables=None):
        variables = dict(variables or {})
        inputs = {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
            "bos_token": variables.pop("bos_token", ""),
            "eos_token": variables.pop("eos_token", ""),
            "extra": variables,
            "now": NOW_SECONDS,
        }
        line = json.dumps({"template": template, "inputs": inputs}, ensure_ascii=False)
        self.process.stdin.write(line.encode("utf-8", "surrogatepass") + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"render_template died ({self.process.wait()}) on {line[:2000]}")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()
