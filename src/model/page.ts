// One page of a list: `skip` and `take` as the owner's API has them, and where it may end.

import { Type, type Static } from "@sinclair/typebox";

const Count = (description: string) =>
  Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description });

export const Page = Type.Object(
  {
    skip: Type.Optional(Count("Rows to pass over; 0 when missing.")),
    take: Type.Optional(Count("Rows to give, at most `page_limit`; 0 gives none.")),
  },
  { additionalProperties: false },
);
export type Page = Static<typeof Page>;

/** `take` above the cap is the cap; missing, it is `usual` (itself capped). */
export const takeOf = (take: number | undefined, options: { usual: number; cap: number }): number =>
  Math.min(take ?? options.usual, options.cap);
