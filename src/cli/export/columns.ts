// What the columns of an export are called, the same in both formats.

/** The column of ids; no member of a state may take its place. */
export const idColumn = "__aggregate_id";

/**
 * The column of a state's member. One that is called like the column of ids gets a `_` more, and so
 * does what would then share its name: no two members share a column.
 */
export const columnOf = (key: string): string => (/^_*__aggregate_id$/.test(key) ? `_${key}` : key);
