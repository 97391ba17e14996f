// GraphQL: queries, mutations, subscriptions.

import { graphqlSurface } from "../support/surfaces-graphql.ts";
import { dbxConformance } from "./dbx.ts";

dbxConformance(graphqlSurface);
