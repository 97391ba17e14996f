// Clock, ids and randomness as one small record, so that tests own them.

export interface System {
  /** The time as dbx writes it: UTC with six digits, `2024-12-01T17:22:43.512345Z`. May jump back. */
  readonly now: () => string;
  /** A fresh UUID, version 7, lower case. */
  readonly uuid: () => string;
  readonly random: (bytes: number) => Uint8Array;
}

export const realSystem: System = {
  now: () => Temporal.Now.instant().toString({ fractionalSecondDigits: 6 }),
  uuid: () => Bun.randomUUIDv7(),
  random: (bytes) => crypto.getRandomValues(new Uint8Array(bytes)),
};
