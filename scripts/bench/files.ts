// How large a download is, for each platform: the archives of a release, made the way a release
// makes them, each beside the executable in it.

import { statSync } from "node:fs";
import { join } from "node:path";
import { executableIn } from "../build.ts";
import { releaseState } from "../release-state.ts";
import { makeRelease } from "../release.ts";
import { root } from "../root.ts";
import { assetOf, targets } from "../targets.ts";
import type { Figure } from "./report.ts";

export interface FilesOptions {
  readonly directory: string;
  /** The level of releases takes a minute or more for each file. */
  readonly quick: boolean;
}

/** One round: bytes are the same each time, which a test shows. */
export async function benchFiles({ directory, quick }: FilesOptions): Promise<Figure[]> {
  const executables = join(directory, "executables");
  const out = join(directory, "release");
  await makeRelease({
    state: await releaseState(root),
    targets: quick ? targets.slice(0, 1) : targets,
    level: quick ? 1 : 6,
    ...{ executables, out },
  });
  const megabytes = (path: string) => statSync(path).size / 1e6;
  return targets.slice(0, quick ? 1 : targets.length).flatMap((target) => {
    const whole = megabytes(executableIn(executables, target));
    return target.archives.map((archive) => {
      const packed = megabytes(join(out, `${assetOf(target)}.${archive}`));
      return {
        ...{ topic: "files", name: `${target.triple}, ${archive}`, unit: "MB" },
        ...{ value: packed, raw: [packed] },
        baseline: { name: "the executable", value: whole, raw: [whole] },
        ...{ ratio: packed / whole, aim: null },
      };
    });
  });
}
