// One conversation between two nodes, through whoever is on the way: three questions, their answers
// and a goodbye.

import type { Session } from "../../src/replication/session.ts";
import { sessionBounds } from "../../src/replication/session.ts";
import { callAs, listenAs, nodeOf, proxyTo, remoteOf, type Tamper } from "./session.ts";

const [near, far] = [nodeOf("near"), nodeOf("far")];
const known = { near: remoteOf(near) };
const bytes = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
export const questions = ["alpha secret", "b".repeat(3_000), "gamma secret"];
export const answers = questions.map((text) => `${text} answered`);

interface Told {
  readonly texts: string[];
  readonly failed: boolean;
}

/** Asks every question, takes every answer, says goodbye; as far as it goes. */
async function ask(session: Session): Promise<Told> {
  const texts: string[] = [];
  try {
    for (const question of questions) {
      await session.send(bytes(question));
      const answer = await session.receive();
      if (answer === null) return { texts, failed: false };
      texts.push(Buffer.from(answer).toString("latin1"));
    }
    const end = session.close();
    await end;
    return { texts, failed: false };
  } catch {
    // Whatever it was: what had come before counts.
    await session.close();
    return { texts, failed: true };
  }
}

async function reply(session: Session): Promise<Told> {
  const texts: string[] = [];
  try {
    for (;;) {
      const question = await session.receive();
      if (question === null) break;
      const text = Buffer.from(question).toString("latin1");
      texts.push(text);
      await session.send(bytes(`${text} answered`));
    }
    await session.close();
    return { texts, failed: false };
  } catch {
    // As above.
    await session.close();
    return { texts, failed: true };
  }
}

/** A conversation through whoever tampers. Null for a side that got no session. */
export async function converse(tamper?: Tamper) {
  const bounds = tamper === undefined ? quick : hurried;
  await using listening = listenAs(far, known, { bounds });
  using proxy = proxyTo(listening.port, tamper);
  const replied = listening
    .accepted()
    .then((session) => (session === null ? null : reply(session)));
  const calling = callAs(near, far, proxy.port, { bounds });
  const asked = await calling.then(ask, () => null);
  const [record] = proxy.recorded;
  // Where the greeting did not arrive as one there is nobody to reply.
  return { asked, replied: listening.begun() > 0 ? await replied : null, record };
}

export const quick = {
  ...sessionBounds,
  ...{ handshakes_max: 8, sessions_max: 8 },
};
/** What is held back must not hold up the test: nothing depends on who is how fast. */
const hurried = {
  ...quick,
  ...{ handshake_ms: 300, farewell_ms: 300, alive_ms: 20, silence_ms: 300 },
};
