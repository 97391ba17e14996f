// What the statements of the suite share: how one is made, and the sizes of its world.

import { root } from "../support/store.ts";
import type { Feature, World } from "../support/surfaces.ts";

export type Check = (
  title: string,
  use: (world: World) => Promise<void>,
  /** Left out, by name, where the surface cannot express it. */
  needs?: Feature,
) => void;

/** Small, so that pages end soon. */
export const sizes = { list_page_size: 3, page_limit: 5 } as const;

/** The last position of the log. */
export const headOf = async ({ store }: World): Promise<number> =>
  (await store.dbx.serverStatus(root, {})).position;
