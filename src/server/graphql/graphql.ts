// The GraphQL surface: `/graphql` and its page.

import type { Mount, SurfaceOptions } from "../surface.ts";

export function graphqlMounts(_options: SurfaceOptions): Mount[] {
  return [];
}
