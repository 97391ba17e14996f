// Counts what a server said to the cases of a target: refusals alone would show no more than that
// the first gate holds.

import type { Said } from "./target.ts";

export interface Tally {
  readonly answered: number;
  readonly refused: number;
  /** How often each word was said. */
  readonly words: ReadonlyMap<string, number>;
}

export const emptyTally: Tally = { answered: 0, refused: 0, words: new Map() };

export function counted(tally: Tally, said: readonly Said[]): Tally {
  const words = new Map(tally.words);
  for (const { word } of said) words.set(word, (words.get(word) ?? 0) + 1);
  const of = (kind: Said["kind"]) => said.filter((one) => one.kind === kind).length;
  return {
    answered: tally.answered + of("answered"),
    refused: tally.refused + of("refused"),
    words,
  };
}

/** `52 % answered: 200 ×510, 404 ×12`, the most frequent first. */
export function tallyText({ answered, refused, words }: Tally): string {
  const all = [...words.values()].reduce((sum, count) => sum + count, 0);
  const part = (count: number) => `${all === 0 ? 0 : Math.round((100 * count) / all)} %`;
  const each = [...words].sort(([, left], [, right]) => right - left);
  const list = each.map(([word, count]) => `${word} ×${count}`).join(", ");
  return `${part(answered)} answered, ${part(refused)} refused (${list})`;
}
