// Rows whose bodies or snapshots may be in either file, and may move while they are read: what is
// in the main file counts, what is not must be in the archive, and what is in neither is looked at
// again.

import { unavailable } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import type { Archive } from "./archive.ts";
import type { EventRow } from "./rows.ts";

/** How often something that moves meanwhile is looked at. */
const attemptsMax = 5;

/** A page of events with their bodies. One that is nowhere comes without, and alone. */
export function wholeEvents({
  rows,
  chars_max,
  archive,
  archivedOf,
}: {
  /** Reads from the first one on, each time it is called. */
  readonly rows: () => Iterable<EventRow>;
  readonly chars_max: number | undefined;
  readonly archive: Archive;
  readonly archivedOf: { get(stream_id: number): { readonly versions: number } | null };
}): EventRow[] {
  const withBody = (row: EventRow): EventRow | undefined => {
    if (row.payload !== null || row.salt !== null) return row;
    const versions = archivedOf.get(row.stream_id)?.versions ?? 0;
    const body = row.version <= versions ? archive.body(row.stream_id, row.version) : undefined;
    return body === undefined ? undefined : { ...row, ...body };
  };
  for (let attempt = 1; ; attempt++) {
    let missing: EventRow | undefined;
    const found = function* (): Iterable<EventRow> {
      for (const row of rows()) {
        const whole = withBody(row);
        if (whole === undefined) {
          missing = row;
          return;
        }
        yield whole;
      }
    };
    const taken = page(found(), { chars_max, sizeOf: (row) => row.payload?.length ?? 0 });
    // What follows a missing one is on the next page.
    if (taken.length > 0 || missing === undefined) return taken;
    // It may have moved between the looks into the two files. If not, it is missing indeed, and
    // whoever makes an event of it says so.
    if (attempt === attemptsMax) return [missing];
  }
}

/** Which stream, and how many of its versions are in the archive. */
export interface StreamPlace {
  readonly stream_id: number;
  readonly versions: number;
}

/** What `read` gives while the stream does not move. */
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
    if (placeOf().versions === place.versions) return value;
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
