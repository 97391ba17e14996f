// REST, and its stream.

import { restSurface } from "../support/surfaces-rest.ts";
import { dbxConformance } from "./dbx.ts";

dbxConformance(restSurface);
