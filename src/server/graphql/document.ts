// Documents: parsed within bounds, and what one asks for counted before anything is done. The
// bounds come before GraphQL's own rules, some of which take the square of what they look at.

import {
  getArgumentValues,
  getVariableValues,
  Kind,
  Lexer,
  parse,
  Source,
  TokenKind,
  visit,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from "graphql";
import { invalidArgument, tooLarge, type DbxError } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { writeJson } from "./exact.ts";
import { rowsOf, type PageSizes } from "./fields.ts";

/** Throws `too_large` beyond a bound, and a GraphQLError for a fault of syntax. */
export function parseDocument(text: string): DocumentNode {
  requireAtMost(limits.graphql_document_chars_max, text.length, "characters");
  requireTokens(text);
  const document = parse(text);
  requireAtMost(limits.graphql_depth_max, depthOf(document), "levels of selections");
  requireAtMost(limits.graphql_aliases_max, aliasesIn(document), "aliases");
  return document;
}

function requireAtMost(limit: number, actual: number, what: string): void {
  if (actual > limit) throw beyond(limit, what, { actual });
}

const beyond = (limit: number, what: string, details: { actual?: number } = {}): DbxError =>
  tooLarge(
    `the document has ${details.actual ?? `more than ${limit}`} ${what}, at most ${limit} are taken`,
    { limit, ...details },
  );

/** Looks at no more tokens than there may be, where the parser would build a tree first. */
function requireTokens(text: string): void {
  const lexer = new Lexer(new Source(text));
  for (let count = 0; lexer.advance().kind !== TokenKind.EOF; count++) {
    if (count >= limits.graphql_tokens_max) throw beyond(limits.graphql_tokens_max, "tokens");
  }
}

/**
 * Levels of fields, those of fragments where they are spread. Fragments are measured once each;
 * one that spreads itself is refused later, by GraphQL's own rule.
 */
function depthOf(document: DocumentNode): number {
  const fragments = fragmentsOf(document);
  const measured = new Map<string, number>();
  const depthIn = ({ selections }: SelectionSetNode): number => {
    let deepest = 0;
    for (const selection of selections) {
      deepest = Math.max(deepest, depthAt(selection));
    }
    return deepest;
  };
  const depthAt = (selection: SelectionSetNode["selections"][number]): number => {
    if (selection.kind === Kind.INLINE_FRAGMENT) return depthIn(selection.selectionSet);
    if (selection.kind === Kind.FIELD)
      return 1 + (selection.selectionSet === undefined ? 0 : depthIn(selection.selectionSet));
    const name = selection.name.value;
    const fragment = fragments.get(name);
    if (fragment === undefined) return 0;
    const known = measured.get(name);
    if (known !== undefined) return known;
    measured.set(name, 0);
    const depth = depthIn(fragment.selectionSet);
    measured.set(name, depth);
    return depth;
  };
  const sets = document.definitions.flatMap((definition) =>
    "selectionSet" in definition ? [definition.selectionSet] : [],
  );
  return Math.max(0, ...sets.map(depthIn));
}

function aliasesIn(document: DocumentNode): number {
  let count = 0;
  visit(document, {
    Field({ alias }) {
      if (alias !== undefined) count++;
    },
  });
  return count;
}

const fragmentsOf = (document: DocumentNode): Map<string, FragmentDefinitionNode> =>
  new Map(
    document.definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  );

interface Asked {
  readonly schema: GraphQLSchema;
  readonly document: DocumentNode;
  readonly operation: OperationDefinitionNode;
  readonly variables: Record<string, unknown>;
  readonly sizes: PageSizes;
}

/**
 * Throws `too_large` for an operation that asks for more rows than a document may, or would write
 * more than a request may bring, because several fields share a variable. Fields count whatever
 * `@skip` and `@include` say. Variables that do not fit are left to the executor, which says why.
 */
export function requireAffordable({ schema, document, operation, variables, sizes }: Asked): void {
  const definitions = operation.variableDefinitions ?? [];
  const { coerced } = getVariableValues(schema, definitions, variables, { maxErrors: 1 });
  const root = schema.getRootType(operation.operation);
  if (coerced === undefined || root === undefined || root === null) return;
  const charsOf = charsOfVariables(coerced);
  let rows = 0;
  let chars = 0;
  for (const node of rootFieldsOf(operation, fragmentsOf(document))) {
    const name = node.name.value;
    const field = root.getFields()[name];
    // Before a literal is made of what it names, which it may do many times.
    chars += charsOf(node);
    requireAtMost(limits.graphql_bytes_max, chars, "characters in arguments");
    const args = field === undefined ? {} : getArgumentValues(field, node, coerced);
    rows += rowsOf(name, args, sizes);
  }
  // One full page is always taken, however large the owner has made it.
  const rowsMax = Math.max(limits.graphql_cost_max, sizes.page_limit);
  if (rows > rowsMax) {
    throw tooLarge(
      `the document asks for ${rows} rows, at most ${rowsMax} are given; take fewer at a time`,
      { limit: rowsMax, actual: rows },
    );
  }
}

/** Characters of the variables that a field names, each as often as it does. */
function charsOfVariables(variables: Record<string, unknown>): (node: FieldNode) => number {
  const known = new Map<string, number>();
  return (node) => {
    let chars = 0;
    for (const argument of node.arguments ?? []) {
      visit(argument, {
        Variable({ name: { value: name } }) {
          const length = known.get(name) ?? writeJson(variables[name]).length;
          known.set(name, length);
          chars += length;
        },
      });
    }
    return chars;
  };
}

/** The fields of an operation's first level, each response key once. */
function rootFieldsOf(
  operation: OperationDefinitionNode,
  fragments: Map<string, FragmentDefinitionNode>,
): Iterable<FieldNode> {
  const fields = new Map<string, FieldNode>();
  for (const selection of rootSelectionsOf(operation, fragments)) {
    if (selection.kind !== Kind.FIELD) continue;
    fields.set(selection.alias?.value ?? selection.name.value, selection);
  }
  return fields.values();
}

/** What stands on an operation's first level, and in the fragments there, each of them once. */
function rootSelectionsOf(
  operation: OperationDefinitionNode,
  fragments: Map<string, FragmentDefinitionNode>,
): SelectionNode[] {
  const found: SelectionNode[] = [];
  const spread = new Set<string>();
  const collect = ({ selections }: SelectionSetNode): void => {
    for (const selection of selections) {
      found.push(selection);
      if (selection.kind === Kind.INLINE_FRAGMENT) collect(selection.selectionSet);
      if (selection.kind !== Kind.FRAGMENT_SPREAD || spread.has(selection.name.value)) continue;
      spread.add(selection.name.value);
      const fragment = fragments.get(selection.name.value);
      if (fragment !== undefined) collect(fragment.selectionSet);
    }
  };
  collect(operation.selectionSet);
  return found;
}

/**
 * Throws `invalid_argument` for a subscription whose field depends on a condition: without it
 * there is nothing to subscribe to (GraphQL, September 2025, "Single Root Field").
 */
export function requireUnconditional(
  document: DocumentNode,
  operation: OperationDefinitionNode,
): void {
  if (operation.operation !== "subscription") return;
  const conditions = rootSelectionsOf(operation, fragmentsOf(document))
    .flatMap(({ directives = [] }) => directives)
    .filter(({ name }) => name.value === "skip" || name.value === "include");
  if (conditions.length > 0) {
    throw invalidArgument("the field of a subscription takes neither @skip nor @include", {
      path: "/query",
    });
  }
}
