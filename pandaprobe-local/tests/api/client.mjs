// Two turns of a conversation, recorded with the TypeScript SDK.
import { SpanKind, flush, score, session, shutdown, user, withSpan, withTrace } from "pandaprobe";

for (const turn of [0, 1]) {
  const message = { messages: [{ role: "user", content: `turn ${turn}` }] };
  let id;
  await session("conversation-1", () =>
    user("ada", () =>
      withTrace(`turn-${turn}`, { input: message }, async (trace) => {
        id = trace.traceId;
        await withSpan("agent", { kind: SpanKind.AGENT }, () =>
          withSpan("ask", { kind: SpanKind.LLM }, async (ask) => {
            ask.setInput(message);
            ask.setTokenUsage({ promptTokens: 7, completionTokens: 3 });
          }),
        );
        trace.setOutput({ messages: [{ role: "assistant", content: "done" }] });
      }),
    ),
  );
  await flush();
  await score(id, "helpful", "0.9", { reason: "it was" });
}
await flush();
await shutdown();
