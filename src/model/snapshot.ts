// A state kept at a version, so that old states need not be folded from the first event.

import type { State } from "./aggregate.ts";
import type { Digest } from "./merkle.ts";
import type { StreamKey, Version } from "./stream.ts";

export interface Snapshot extends StreamKey {
  readonly version: Version;
  readonly state: State;
  readonly merkle_root: Digest;
  readonly created_at: string;
  readonly comment: string | null;
}

/** `threshold` in events; 0 and null mean never. */
export const isSnapshotDue = (version: Version, threshold: number | null): boolean =>
  threshold !== null && threshold > 0 && version % threshold === 0;
