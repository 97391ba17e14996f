// A client of server-sent events, by the letter of the HTML standard (section 9.2.6), that also
// tells what a browser keeps to itself: ids without data, and comments.

import type { Follow } from "./live.ts";

export interface Message {
  /** The last id so far. */
  readonly id: string;
  /** `message` where the stream names no other. */
  readonly type: string;
  /** Null where nothing is dispatched. */
  readonly data: string | null;
  readonly comment: boolean;
}

export interface EventSourceLike {
  readonly response: Response;
  /** What comes; ends with the stream. Take it once. */
  readonly messages: AsyncGenerator<Message, void>;
  readonly close: () => void;
}

export async function openStream(options: {
  readonly port: number;
  readonly token: string;
  /** What stands behind the path: `?after=0`. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
}): Promise<EventSourceLike> {
  const { port, token, query = "", headers } = options;
  const gone = new AbortController();
  const response = await fetch(`http://127.0.0.1:${port}/v1/events/stream${query}`, {
    headers: { Authorization: `Bearer ${token}`, ...headers },
    signal: gone.signal,
  });
  return { response, messages: messagesOf(response), close: () => gone.abort() };
}

async function* messagesOf({ body }: Response): AsyncGenerator<Message, void> {
  const decoder = new TextDecoder();
  let text = "";
  let id = "";
  for await (const bytes of body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      let type = "message";
      const lines: string[] = [];
      let comment = false;
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        const value = line.slice(at + 1).replace(/^ /, "");
        if (at === 0) comment = true;
        else if (line.slice(0, at) === "id") id = value;
        else if (line.slice(0, at) === "event") type = value;
        else if (line.slice(0, at) === "data") lines.push(value);
        else throw new Error(`no such field: ${line}`);
      }
      yield { id, type, data: lines.length === 0 ? null : lines.join("\n"), comment };
    }
  }
  if (text !== "") throw new Error(`the stream ended within ${JSON.stringify(text)}`);
}

/** For `killAndResume`: resumes as a browser does. `at` tells where the server is now. */
export const followBySse = (at: () => { port: number; token: string }): Follow =>
  async function* (after, signal) {
    const headers = { "Last-Event-ID": String(after) };
    const { response, messages, close } = await openStream({ ...at(), headers });
    signal.addEventListener("abort", close);
    if (response.status !== 200) throw new Error(await response.text());
    for await (const { id, data, type } of messages) {
      if (type !== "message") throw new Error(data ?? type);
      if (data !== null) yield Number(id);
    }
  };
