// How much of an export is written at once: enough that writing is cheap, little enough that a page
// of large rows, or rows of very many columns, need no more memory than others.

/** With a MiB it is no faster, and the runtime lets 40 to 100 MiB more lie about. */
export const piece_chars = 65_536;

/** The texts of the rows one after the other, in pieces that end with the row that fills them. */
export function* piecesOf<Row>(
  rows: readonly Row[],
  textOf: (row: Row) => string,
): Generator<string> {
  let texts: string[] = [];
  let chars = 0;
  for (const row of rows) {
    const text = textOf(row);
    texts.push(text);
    chars += text.length;
    if (chars < piece_chars) continue;
    yield texts.join("");
    texts = [];
    chars = 0;
  }
  if (chars > 0) yield texts.join("");
}
