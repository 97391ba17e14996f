// The fenced blocks of a Markdown text, as the tests of the documentation see them.
//
// ```sh           runs, in order, in one shell session      ```json output   what the sh block before printed
// ```text output  the same, not JSON. `…` stands for anything but a quote or a line break, `01ab23…`
//                 for any other hexadecimal digits: they differ from run to run
// <!-- not run: reason -->  before a block: it does not run

export interface Block {
  /** `sh`, `json`, `text`; empty where the fence names none. */
  readonly language: string;
  readonly isOutput: boolean;
  readonly text: string;
  /** Line of the opening fence, from 1 on. */
  readonly line: number;
  readonly notRun: string | null;
}

export function blocksOf(markdown: string): Block[] {
  const lines = markdown.split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^( *)```(\w*)((?: \w+)*)$/.exec(lines[at] ?? "");
    if (fence === null) continue;
    const [, indent = "", language = "", words = ""] = fence;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    if (end === -1) throw new Error(`the block that opens on line ${at + 1} never ends`);
    const before = lines.slice(0, at).findLast((line) => line.trim() !== "") ?? "";
    blocks.push({
      language,
      isOutput: words.trim() === "output",
      text: lines
        .slice(at + 1, end)
        .map((line) => line.slice(indent.length))
        .join("\n"),
      line: at + 1,
      notRun: /^ *<!-- not run: (.+) -->$/.exec(before)?.[1] ?? null,
    });
    at = end;
  }
  return blocks;
}

export const isShell = ({ language }: Block): boolean => ["sh", "bash"].includes(language);
