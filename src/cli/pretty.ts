// Lays JSON text out for people: two blanks per level, order and every token kept as they are.
// Works on the text, because parsing would round numbers.

/** In: valid JSON text without white space between its tokens. */
export function pretty(text: string, indent = ""): string {
  const parts: string[] = [];
  let depth = indent;
  let plain = 0;
  for (let index = 0; index < text.length; index++) {
    const sign = text[index];
    if (sign === '"') {
      index = endOfString(text, index);
    } else if (sign === "{" || sign === "[") {
      // Empty ones stay together: `{}`.
      if (text[index + 1] === (sign === "{" ? "}" : "]")) {
        index++;
        continue;
      }
      depth += "  ";
      parts.push(text.slice(plain, index + 1), "\n", depth);
      plain = index + 1;
    } else if (sign === "}" || sign === "]") {
      depth = depth.slice(2);
      parts.push(text.slice(plain, index), "\n", depth);
      plain = index;
    } else if (sign === ",") {
      parts.push(text.slice(plain, index + 1), "\n", depth);
      plain = index + 1;
    } else if (sign === ":") {
      parts.push(text.slice(plain, index + 1), " ");
      plain = index + 1;
    }
  }
  parts.push(text.slice(plain));
  return parts.join("");
}

function endOfString(text: string, start: number): number {
  for (let index = start + 1; index < text.length; index++) {
    if (text[index] === "\\") index++;
    else if (text[index] === '"') return index;
  }
  return text.length;
}
