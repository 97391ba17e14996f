// Words as roff wants them: the macros of man pages that every formatter has, and text in which
// nothing is taken for one.

/** Text that stands for itself; what is beyond ASCII is named. */
export function roff(text: string): string {
  const plain = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("'", "\\(aq")
    .replaceAll("^", "\\(ha")
    .replaceAll("`", "\\(ga")
    .replaceAll("~", "\\(ti")
    // Of two code units some; each is named as a whole.
    .replaceAll(/[^\u0000-\u007f]/gu, (sign) => `\\[u${codeOf(sign)}]`);
  // A line that begins with a dot or a quote is a request.
  return plain.replaceAll(/^\./gm, "\\&.");
}

const codeOf = (sign: string): string =>
  (sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");

export const section = (title: string): string => `.SH ${argument(title)}`;
export const subsection = (title: string): string => `.SS ${argument(title)}`;

/** Paragraphs of help, and lines in it that are indented: those stay as they are. */
export function paragraphs(text: string): string[] {
  return text
    .split(/\n{2,}/)
    .filter((part) => part.trim() !== "")
    .flatMap((part) => {
      const lines = part.split("\n");
      if (!lines.some((line) => line.startsWith("  ")))
        return [".PP", roff(lines.join(" ").trim())];
      return literal(lines);
    });
}

/** Lines that are shown as they are written. */
export const literal = (lines: readonly string[]): string[] => [
  ...[".PP", ".RS 4", ".nf"],
  ...lines.map(roff),
  ...[".fi", ".RE"],
];

/** A name in bold, the value behind it, and what both are about. */
export const entry = (name: string, value: string, about: string): string[] => [
  ".TP",
  value === "" ? `.B ${argument(name)}` : `.BI ${argument(name)} ${argument(value)}`,
  roff(about.trim().replaceAll(/\s*\n\s*/g, " ")) || "\\&",
];

/** Quoted, so that its blanks are its own. */
const argument = (text: string): string => `"${roff(text).replaceAll('"', "\\(dq")}"`;
