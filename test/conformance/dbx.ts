// What dbx must do whatever it is spoken to by: one suite for the engine and every surface. Ten
// lines per surface call it; what only one of them can do is tested beside that one.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { openWorld, type Surface, type World } from "../support/surfaces.ts";
import { access } from "./dbx-access.ts";
import { appends } from "./dbx-appends.ts";
import { archived, batches } from "./dbx-batches.ts";
import { sizes, type Check } from "./dbx-check.ts";
import { hidden, lists, pages } from "./dbx-lists.ts";
import { live } from "./dbx-live.ts";
import { names, notes, payloads } from "./dbx-payloads.ts";
import { reads, verification } from "./dbx-reads.ts";

/**
 * Statements share one world and keep apart by aggregate types of their own. What the surface lacks
 * is left out by name; every other statement must hold on it.
 */
export function dbxConformance(surface: Surface): void {
  describe(`dbx: ${surface.name}`, () => {
    let world: World;
    let ahead_ms = 0;
    beforeAll(async () => {
      const now = () => Temporal.Now.instant().add({ milliseconds: ahead_ms });
      world = await openWorld(surface, {
        config: sizes,
        system: { now: () => now().toString({ fractionalSecondDigits: 6 }) },
      });
    });
    afterAll(() => world[Symbol.asyncDispose]());

    const check: Check = (title, use, needs) => {
      const reason = needs === undefined ? undefined : surface.lacks[needs];
      if (reason === undefined) test(title, () => use(world));
      else test.skip(`${title} [${reason}]`, () => use(world));
    };
    appends(check);
    batches(check);
    archived(check);
    payloads(check);
    notes(check);
    names(check);
    reads(check);
    verification(check);
    lists(check);
    pages(check);
    hidden(check);
    access(check, { pass: (ms) => (ahead_ms += ms) });
    live(check);

    test("nothing of all this was a defect", () => {
      expect(world.lines.filter((line) => line.includes(" error "))).toEqual([]);
    });
  });
}
