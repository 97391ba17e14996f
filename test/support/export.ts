// What tests of the export begin with: aggregates, pages of them, and an export of pages.

import { join } from "node:path";
import { exportTables, type ExportJob } from "../../src/cli/export/export.ts";
import { placeOf, type Format } from "../../src/cli/export/place.ts";
import type { Aggregate } from "../../src/model/aggregate.ts";
import { canonicalOf } from "../../src/model/canonical.ts";
import { emptyRoot } from "../../src/model/merkle.ts";

export const aggregate = (type: string, id: string, state: object): Aggregate => ({
  ...{ aggregate_type: type, aggregate_id: id, version: 1, state: canonicalOf(state) },
  ...{ merkle_root: emptyRoot.toHex(), archived: false },
});

export async function* pagesFrom(...pages: (Aggregate[] | (() => never))[]) {
  for (const page of pages) yield typeof page === "function" ? page() : page;
}

export interface ExportCase {
  readonly output: string;
  readonly pages: AsyncIterable<Aggregate[]>;
  readonly format?: Format;
  readonly archive?: string | null;
  readonly data_dir?: string;
  readonly advance?: ExportJob["advance"];
}

export async function exportTo(options: ExportCase) {
  const { output, pages, format = "csv", archive = null, advance = () => {} } = options;
  const { data_dir = join(output, "nowhere") } = options;
  const place = placeOf({ output, format, archive, data_dir });
  return exportTables({ pages, place, format, zip: archive !== null, advance, pretty: false });
}
