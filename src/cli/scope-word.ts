// What a token is for, as one word: `type`, `type:id`, and where a colon is part of a name
// `type::id` or `::type`. What is read is what was written, or it is refused.

import type { ScopeEntry } from "../model/actor.ts";
import { invalidArgument } from "../model/error.ts";

/** In: a word of `flag`. Throws where it could be read in two ways, or names nothing. */
export function scopeEntryOf(word: string, flag: string): ScopeEntry {
  if (word.startsWith("::")) return entry({ word, flag, type: word.slice(2), id: undefined });
  const double = word.indexOf("::");
  const [first, ...more] = double === -1 ? word.split(":") : [word.slice(0, double)];
  if (more.length > 1) {
    throw invalidArgument(
      `${flag}: ${JSON.stringify(word)} can be read in several ways; write ${flag} type::id for ` +
        `one aggregate, ${flag} ::type for a whole type with a colon in its name`,
      { flag },
    );
  }
  const id = double === -1 ? more[0] : word.slice(double + 2);
  return entry({ word, flag, type: first ?? "", id });
}

interface Parts {
  readonly word: string;
  readonly flag: string;
  readonly type: string;
  readonly id: string | undefined;
}

/** An empty id is no whole type: it may be a variable that nobody has set. */
function entry({ word, flag, type, id }: Parts): ScopeEntry {
  if (type !== "" && id !== "") {
    return { aggregate_type: type, ...(id === undefined ? {} : { aggregate_id: id }) };
  }
  const missing = type === "" ? "no type" : "no id after the colon";
  throw invalidArgument(`${flag}: ${JSON.stringify(word)} has ${missing}; give type or type:id`, {
    flag,
  });
}

/** The words joined with commas; the entries themselves where some word would be read otherwise. */
export function scopeWordsOf(scope: readonly ScopeEntry[]): string | readonly ScopeEntry[] {
  const words = scope.map(wordOf);
  return words.every((word, index) => saysExactly(word, scope[index])) ? words.join() : scope;
}

function wordOf({ aggregate_type: type, aggregate_id: id }: ScopeEntry): string {
  if (id === undefined) return type.includes(":") ? `::${type}` : type;
  return type.includes(":") || id.includes(":") ? `${type}::${id}` : `${type}:${id}`;
}

/** A type that ends with a colon or has two of them in it has no word; nor has a name with a comma. */
function saysExactly(word: string, meant: ScopeEntry | undefined): boolean {
  if (word.includes(",")) return false;
  const read = scopeEntryOf(word, "");
  return read.aggregate_type === meant?.aggregate_type && read.aggregate_id === meant.aggregate_id;
}
