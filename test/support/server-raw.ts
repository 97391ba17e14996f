// A connection on which a test writes HTTP byte by byte and reads answers one by one, because
// `fetch` refuses to send most of what a server must withstand.

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

export interface RawConnection extends Disposable {
  readonly write: (text: string | Uint8Array) => void;
  /** The next answer; rejects when the server closes before one is whole. */
  readonly read: (options?: { head?: boolean }) => Promise<RawAnswer>;
  /** Resolves when the server has closed the connection. */
  readonly closed: Promise<void>;
  /** Ends the writing half, or all with `now`. */
  readonly end: () => void;
}

export async function connectRaw(port: number): Promise<RawConnection> {
  let received = Buffer.alloc(0);
  let over = false;
  let wake = Promise.withResolvers<void>();
  const closed = Promise.withResolvers<void>();
  let unsent = Buffer.alloc(0);

  const signal = () => {
    const { resolve } = wake;
    wake = Promise.withResolvers<void>();
    resolve();
  };
  const finish = () => {
    over = true;
    closed.resolve();
    signal();
  };
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port,
    socket: {
      data(_, chunk) {
        received = Buffer.concat([received, chunk]);
        signal();
      },
      drain: () => flush(),
      end: finish,
      close: finish,
      error: finish,
    },
  });
  function flush() {
    if (unsent.length === 0) return;
    const sent = socket.write(unsent);
    unsent = unsent.subarray(Math.max(sent, 0));
  }

  return {
    write(text) {
      unsent = Buffer.concat([unsent, Buffer.from(text)]);
      flush();
    },
    async read({ head = false } = {}) {
      for (;;) {
        const parsed = parse(received, head);
        if (parsed !== null) {
          received = received.subarray(parsed.length);
          return parsed.answer;
        }
        if (over) throw new Error(`closed after ${JSON.stringify(received.toString())}`);
        await wake.promise;
      }
    },
    closed: closed.promise,
    end: () => void socket.end(),
    [Symbol.dispose]: () => socket.terminate(),
  };
}

function parse(bytes: Buffer, head: boolean): { answer: RawAnswer; length: number } | null {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return null;
  const [line = "", ...fields] = bytes.toString("latin1", 0, end).split("\r\n");
  const status = Number(line.split(" ")[1]);
  const headers = new Map(
    fields.map((field) => {
      const at = field.indexOf(":");
      return [field.slice(0, at).toLowerCase(), field.slice(at + 1).trim()] as const;
    }),
  );
  const bare = head || status < 200 || status === 204;
  const length = bare ? 0 : Number(headers.get("content-length") ?? 0);
  const start = end + 4;
  if (bytes.length < start + length) return null;
  const body = bytes.toString("utf8", start, start + length);
  return { answer: { status, headers, body }, length: start + length };
}

/** One request as text. The body, if any, comes with its length. */
export function requestText(
  method: string,
  path: string,
  options: { token?: string; body?: string; headers?: Record<string, string> } = {},
): string {
  const { token, body, headers } = options;
  const fields = {
    Host: "127.0.0.1",
    ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    ...(body === undefined
      ? {}
      : { "Content-Type": "application/json", "Content-Length": String(Buffer.byteLength(body)) }),
    ...headers,
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body ?? ""}`;
}
