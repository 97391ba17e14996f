// Whether a server keeps something of each case: a line through its memory after collections. What
// it may keep by its own bounds is full before the first sample (server.ts fills it).

export interface Sample {
  /** Cases until then, of all targets of this server. */
  readonly cases: number;
  readonly bytes: number;
}

export interface GrowthBound {
  /** Of a case, over the whole run. */
  readonly case_bytes_max: number;
  /** What any run may add: caches whose values change their size, code that is compiled late. */
  readonly slack_bytes: number;
}

export interface RunBounds {
  /** Live objects after a collection. */
  readonly heap: GrowthBound;
  /** The whole process, which also sees what native code keeps; its allocators keep peaks. */
  readonly resident: GrowthBound;
}

/**
 * Measured: the heap gains nothing in 70,000 cases, and samples of a run lie up to 6 MiB apart,
 * those of the process 70 MiB. A leak of 2 KiB a case passes the first after some 5,000
 * cases, which are seconds.
 */
export const longRun: RunBounds = {
  heap: { case_bytes_max: 512, slack_bytes: 8 * 2 ** 20 },
  resident: { case_bytes_max: 1_024, slack_bytes: 96 * 2 ** 20 },
};

/**
 * A run of seconds, in which documents are parsed and kept, code is compiled and allocators find
 * their size: 22 and 106 MiB (measured).
 */
export const shortRun: RunBounds = {
  heap: { case_bytes_max: 512, slack_bytes: 48 * 2 ** 20 },
  resident: { case_bytes_max: 1_024, slack_bytes: 192 * 2 ** 20 },
};

/**
 * A leak goes on: the later half of the samples must rise as the whole does, or it was a cache that
 * filled, code that was compiled.
 */
export function growthFaults(
  name: string,
  samples: readonly Sample[],
  { case_bytes_max, slack_bytes }: GrowthBound,
): string[] {
  const rises = (part: readonly Sample[], slack: number): boolean => {
    const { cases, bytes } = growthOf(part);
    return bytes > slack && bytes > case_bytes_max * cases;
  };
  // Two samples have no half.
  const later = samples.length < 4 ? samples : samples.slice(Math.floor(samples.length / 2) - 1);
  if (!rises(samples, slack_bytes) || !rises(later, slack_bytes / 3)) return [];
  const { cases, bytes } = growthOf(samples);
  const each = Math.round(bytes / cases);
  const row = samples.map((sample) => `${sample.cases}:${Math.round(sample.bytes / 1024)}`);
  return [`${name} grows by ${each} bytes a case (cases:KiB ${row.join(" ")})`];
}

/**
 * By how much the line through the samples rises from the first to the last: least squares, so that
 * no single collection that came late decides.
 */
export function growthOf(samples: readonly Sample[]): Sample {
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return { cases: 0, bytes: 0 };
  const mean = (of: (sample: Sample) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [middle, level] = [mean(({ cases }) => cases), mean(({ bytes }) => bytes)];
  const spread = mean(({ cases }) => (cases - middle) ** 2);
  const slope =
    spread === 0 ? 0 : mean(({ cases, bytes }) => (cases - middle) * (bytes - level)) / spread;
  const cases = last.cases - first.cases;
  return { cases, bytes: slope * cases };
}
