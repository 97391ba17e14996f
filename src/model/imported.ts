// An event as one node hands it to another: the record, and beside it what proves its body.

import { Type, type Static } from "@sinclair/typebox";
import { EventRecord, toRecord, type CommittedEvent } from "./event.ts";

const { position: _position, metadata, ...shared } = EventRecord.properties;

export const ForeignEvent = Type.Object(
  {
    ...shared,
    metadata: Type.Object(
      {
        ...metadata.properties,
        event_id: Type.String({
          pattern: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
          fault: "must be a UUID in lower case",
          description: "Its id, a UUID in lower case.",
        }),
        created_at: Type.String({
          pattern: "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}Z$",
          fault: "must be UTC with six digits of a second, such as 2024-12-01T17:22:43.512345Z",
          description: "When it was committed first.",
        }),
      },
      { additionalProperties: false },
    ),
    salt: Type.Optional(
      Type.String({
        pattern: "^[0-9a-f]{32}$",
        description: "Salt of the body, 16 bytes in hex; missing only where the body is erased.",
      }),
    ),
    content_digest: Type.String({
      pattern: "^[0-9a-f]{64}$",
      description: "SHA-256 over salt, note and payload, in hex.",
    }),
  },
  { $id: "ForeignEvent", additionalProperties: false },
);
export type ForeignEvent = Static<typeof ForeignEvent>;

/** A committed event as it is told to another node. */
export const foreignEventOf = (event: CommittedEvent): ForeignEvent => {
  const { position: _, ...record } = toRecord(event);
  const proof = event.erased === true ? {} : { salt: event.salt.toHex() };
  return { ...record, ...proof, content_digest: event.content_digest.toHex() };
};
