// What two nodes may tell each other, in one byte, before there is a session.

/** The listener, of the caller who has proved his key. */
export const verdicts = { welcome: 0, unknown_key: 1, busy: 2 } as const;

/** The caller, of the listener who has. */
export const refusals = { other_key: 1 } as const;
