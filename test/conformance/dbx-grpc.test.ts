// gRPC, by a client of grpc-js in this process.

import { grpcSurface } from "../support/surfaces-grpc.ts";
import { dbxConformance } from "./dbx.ts";

dbxConformance(grpcSurface);
