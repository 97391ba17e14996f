// A process that commits what is staged and says so; the test kills it before it can empty the
// file.
//
//   bun fault-commit.ts DIRECTORY

import { openStore, root } from "./store.ts";

const [directory = ""] = process.argv.slice(2);

const { dbx } = await openStore(directory);
const records = await dbx.commitStaged(root, {});
process.stdout.write(`${JSON.stringify({ committed: records.length })}\n`);
