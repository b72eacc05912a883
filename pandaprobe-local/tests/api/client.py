"""Two turns of a conversation, recorded with the Python SDK."""

import pandaprobe

for turn in range(2):
    with pandaprobe.session("conversation-1"), pandaprobe.user("ada"):
        message = {"messages": [{"role": "user", "content": f"turn {turn}"}]}
        with pandaprobe.start_trace(f"turn-{turn}", input=message) as trace:
            with trace.span("agent", kind="AGENT"):
                with trace.span("ask", kind="LLM") as ask:
                    ask.set_input(message)
                    ask.set_token_usage(prompt_tokens=7, completion_tokens=3)
            trace.set_output({"messages": [{"role": "assistant", "content": "done"}]})
    pandaprobe.flush()
    pandaprobe.score(trace.trace_id, "helpful", "0.9", reason="it was")
pandaprobe.flush()
pandaprobe.shutdown()
