// Text to files, piece by piece: a file of its own each, mode 0600 because exports hold
// everybody's data, or the entries of one zip archive.

import { open, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { ZipFile } from "yazl";

/** What takes the texts of an export, one after the other. */
export interface Container extends AsyncDisposable {
  /** Reads the text to its end. Rejects with what the text or the disk failed with. */
  readonly put: (name: string, text: AsyncIterable<string>) => Promise<void>;
  /** Completes it, durably; nothing is put afterwards. Out: the paths of the files, in order. */
  readonly finish: () => Promise<string[]>;
}

/** Files `1`, `2`, … in the directory: names are given when all is known. */
export function openFolder(directory: string): Container {
  const paths: string[] = [];
  return {
    put: async (_name, text) => {
      const path = join(directory, String(paths.length + 1));
      await writeFile(path, text, { durable: true });
      paths.push(path);
    },
    finish: async () => paths,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** One archive with the texts as its entries, compressed while they come. */
export async function openArchive(path: string): Promise<Container> {
  const file = await open(path, "wx", 0o600);
  const zip = new ZipFile();
  // What is still on its way into a stream that was cut short is lost, as it should be.
  zip.outputStream.on("error", () => {});
  let current: Readable | undefined;
  let failure: unknown;
  const copied = copy(zip.outputStream, file).catch((error: unknown) => {
    failure = error;
    // Nothing reads the archive any more, so the text would wait for ever.
    current?.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= file.close());
  const refuseFailed = () => {
    if (failure !== undefined) throw failure;
  };
  return {
    put: async (name, text) => {
      refuseFailed();
      current = Readable.from(text, { objectMode: false });
      zip.addReadStream(current, name, { mode: 0o100600 });
      await finished(current);
    },
    finish: async () => {
      zip.end();
      await copied;
      refuseFailed();
      await file.sync();
      await close();
      return [path];
    },
    [Symbol.asyncDispose]: async () => {
      // What was cut short has nobody to read on, and would wait for ever.
      if (zip.outputStream instanceof Readable) zip.outputStream.destroy();
      await copied;
      await close();
    },
  };
}

/** Makes the file; on a failure what is there of it stays, for the caller's directory to go. */
export async function writeFile(
  path: string,
  text: AsyncIterable<string>,
  { durable }: { durable: boolean },
): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await copy(text, file);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
}

async function copy(chunks: AsyncIterable<string | Uint8Array>, file: FileHandle): Promise<void> {
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk);
    // A disk that is nearly full takes a part, and only the next write says why.
    for (let at = 0; at < bytes.length;) at += (await file.write(bytes, at)).bytesWritten;
  }
}
