// Rows whose bodies or snapshots may be in either file, and may move while they are read: what is
// in the main file counts, what is not must be in the archive, and what is in neither is looked at
// again.

import { unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import type { Archive } from "./archive.ts";
import { bodyOf, type Body } from "./blocks.ts";
import { isErased, type EventRow } from "./rows.ts";

/** How often something that moves meanwhile is looked at. */
const attemptsMax = 5;

/** Characters of the blocks that one page opens: a tenth of a second (measured). */
const blockCharsMax = 32 * 1024 * 1024;

interface Archived {
  readonly archive: Archive;
  readonly archivedOf: { get(stream_id: number): { readonly versions: number } | null };
}

/** A page of events with their bodies. One that is nowhere comes without, and alone. */
export function wholeEvents({
  rows,
  chars_max,
  ...archived
}: Archived & {
  /** Reads from the first one on, each time it is called. */
  readonly rows: () => Iterable<EventRow>;
  readonly chars_max: number | undefined;
}): EventRow[] {
  for (let attempt = 1; ; attempt++) {
    const listed = page(upTo(rows()), { chars_max, sizeOf });
    const bodyOfRow = openBlocks(listed, archived);
    let missing: EventRow | undefined;
    const found = function* (): Iterable<EventRow> {
      for (const row of listed) {
        const body = isHere(row) ? row : bodyOfRow(row);
        if (body === "later") return;
        if (body === undefined) {
          missing = row;
          return;
        }
        yield { ...row, ...body };
      }
    };
    const taken = page(found(), { chars_max, sizeOf });
    // What follows a missing one is on the next page.
    if (taken.length > 0 || missing === undefined) return taken;
    // It may have moved between the looks into the two files. If not, it is missing indeed, and
    // whoever makes an event of it says so.
    if (attempt === attemptsMax) return [missing];
  }
}

/** Or nowhere, because it is erased. */
const isHere = (row: EventRow): boolean =>
  row.payload !== null || row.salt !== null || row.sealed !== null || isErased(row);
const sizeOf = (row: EventRow): number => row.payload?.length ?? row.sealed?.length ?? 0;

/** As many rows without body as are worth a look ahead. */
function* upTo(rows: Iterable<EventRow>): Iterable<EventRow> {
  let elsewhere = 0;
  for (const row of rows) {
    if (!isHere(row) && ++elsewhere > limits.scan_rows_max) return;
    yield row;
  }
}

/**
 * Gives the bodies of these rows one by one. Opens each block once and takes all from it that the
 * rows want, because in the log the streams alternate; "later" says that this were one too many.
 */
function openBlocks(listed: readonly EventRow[], { archive, archivedOf }: Archived) {
  const wanted = Map.groupBy(
    listed.filter((row) => !isHere(row)),
    ({ stream_id }) => stream_id,
  );
  const bodies = new Map<EventRow, Body>();
  let chars = 0;
  return (row: EventRow): Body | "later" | undefined => {
    const known = bodies.get(row);
    if (known !== undefined) return known;
    const versions = archivedOf.get(row.stream_id)?.versions ?? 0;
    if (row.version > versions) return undefined;
    if (chars > blockCharsMax) return "later";
    const { stream_id, aggregate_type, aggregate_id } = row;
    // Without a stream it is no event, and whoever makes one of it says so.
    if (aggregate_type === null || aggregate_id === null) return undefined;
    const block = archive.block({ stream_id, aggregate_type, aggregate_id }, row.version);
    if (block === undefined) return undefined;
    chars += block.chars;
    for (const each of wanted.get(row.stream_id) ?? []) {
      if (each.version > versions) continue;
      const body = bodyOf(block, each.version);
      if (body !== undefined) bodies.set(each, body);
    }
    return bodies.get(row);
  };
}

/** Which stream, how many of its versions are in the archive, and how many are erased. */
export interface StreamPlace {
  readonly stream_id: number;
  readonly versions: number;
  readonly erased: number;
}

/** What `read` gives while the stream does not move, and nothing of it is erased. */
export function settledRead<T>({
  key,
  placeOf,
  read,
}: {
  readonly key: StreamKey;
  readonly placeOf: () => StreamPlace;
  readonly read: (place: StreamPlace) => T;
}): T {
  for (let attempt = 1; ; attempt++) {
    const place = placeOf();
    const value = read(place);
    const { versions, erased } = placeOf();
    if (versions === place.versions && erased === place.erased) return value;
    if (attempt === attemptsMax) {
      throw unavailable(`${showKey(key)} is on its way to or from the archive; try again`);
    }
  }
}

/**
 * The rows, or fewer where they are large; never none if there is one (limits.page_bytes_max).
 */
export function page<Row>(
  rows: Iterable<Row>,
  options: {
    readonly sizeOf: (row: Row) => number;
    readonly limit?: number;
    readonly chars_max?: number | undefined;
  },
): Row[] {
  const { sizeOf, limit = Infinity, chars_max = limits.page_bytes_max } = options;
  const taken: Row[] = [];
  let size = 0;
  if (limit === 0) return taken;
  for (const row of rows) {
    size += sizeOf(row);
    if (taken.length > 0 && size > chars_max) break;
    taken.push(row);
    if (taken.length === limit) break;
  }
  return taken;
}
