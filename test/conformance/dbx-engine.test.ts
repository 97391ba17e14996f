// The engine in process: the measure of all surfaces.

import { engineSurface } from "../support/surfaces-engine.ts";
import { dbxConformance } from "./dbx.ts";

dbxConformance(engineSurface);
