"""The fixed strings of MiniMind's chat format, and the same format as a Jinja template for transformers and servers.

The wording of the tools block is part of the format: released models were trained on exactly these sentences.
"""

from __future__ import annotations

import json

START, END = "<|im_start|>", "<|im_end|>"
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
OPEN_THOUGHT = "<think>\n"
TOOLS_HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)

_PARTS = (
    "{%- set has_system = messages[0].role == 'system' -%}",
    "{%- if tools -%}",
    "{{- START + 'system\\n' + (messages[0].content + '\\n\\n' if has_system else '') + HEAD -}}",
    "{%- for tool in tools -%}{{- '\\n' + (tool | tojson) -}}{%- endfor -%}",
    "{{- TAIL + END + '\\n' -}}",
    "{%- elif has_system -%}",
    "{{- START + 'system\\n' + messages[0].content + END + '\\n' -}}",
    "{%- endif -%}",
    "{%- for message in messages -%}",
    "{%- set content = message.content if message.content is string else '' -%}",
    "{%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}",
    "{{- START + message.role + '\\n' + content + END + '\\n' -}}",
    "{%- elif message.role == 'assistant' -%}",
    "{%- set thought = '' -%}",
    "{%- if message.reasoning_content is string -%}",
    "{%- set thought = message.reasoning_content -%}",
    "{%- elif '</think>' in content -%}",
    "{%- set thought = content.split('</think>')[0].split('<think>')[-1] -%}",
    "{%- set content = content.split('</think>')[-1] -%}",
    "{%- endif -%}",
    "{{- START + 'assistant\\n<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') -}}",
    "{%- for call in message.tool_calls or [] -%}",
    "{%- if content or not loop.first -%}{{- '\\n' -}}{%- endif -%}",
    "{%- set call = call.function or call -%}",
    "{%- set arguments = call.arguments if call.arguments is string else (call.arguments | tojson) -%}",
    "{{- '<tool_call>\\n{\"name\": \"' + call.name + '\", \"arguments\": ' + arguments + '}\\n</tool_call>' -}}",
    "{%- endfor -%}",
    "{{- END + '\\n' -}}",
    "{%- elif message.role == 'tool' -%}",
    "{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}{{- START + 'user' -}}{%- endif -%}",
    "{{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' -}}",
    "{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}{{- END + '\\n' -}}{%- endif -%}",
    "{%- endif -%}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt -%}",
    "{{- START + 'assistant\\n' + (OPEN if open_thinking is defined and open_thinking is true else EMPTY) -}}",
    "{%- endif -%}",
)
_NAMES = {
    "START": START,
    "END": END,
    "HEAD": TOOLS_HEAD,
    "TAIL": TOOLS_TAIL,
    "OPEN": OPEN_THOUGHT,
    "EMPTY": EMPTY_THOUGHT,
}

JINJA_TEMPLATE = "".join(f"{{%- set {name} = {json.dumps(value)} -%}}" for name, value in _NAMES.items()) + "".join(
    _PARTS
)
"""The minimind-3 format for `tokenizer_config.json`; `minimind.data.chat.render` writes the same text."""
