// The control socket: messages of Cap'n Proto that ask for commands, right ones, ones with changes,
// and ones whose tables, lengths and pointers lie. What is no request gets no answer; what is one
// gets one, whatever the command says.

import { createFrameReader } from "../../src/wire/frame.ts";
import {
  decodeResponse,
  encodeRequest,
  far,
  framed,
  list,
  short,
  struct,
  wide,
  words,
  type Response,
} from "../support/capnp.ts";
import { betrayed } from "./answer.ts";
import { mutated, mutatedText, type Dice } from "./dice.ts";
import { jsonText } from "./json.ts";
import { idOf, typeOf } from "./requests.ts";
import { after, cut, exchange, type Said, type Target } from "./target.ts";

/** Commands that leave the server as it is, but for events. */
function rightArgs(dice: Dice): string[] {
  const key = [typeOf(dice), idOf(dice)];
  const payload = jsonText(dice, 2, { right: true });
  return [
    ...dice.pick([
      ["aggregate", "get", ...key],
      ["aggregate", "list", "--take", String(dice.below(9))],
      ["aggregate", "replay", ...key, "--take", "3"],
      ["aggregate", "verify", ...key],
      ["aggregate", "apply", ...key, "noted", "--payload", payload],
      ["token", "list"],
      ["schema", "list"],
      ["audit", "--take", "3"],
      ["status"],
      ["--version"],
      ["help", "aggregate"],
    ]),
    ...(dice.chance(0.5) ? ["--json"] : []),
  ];
}

const vocabulary = [
  ...["aggregate", "get", "list", "apply", "order", "f-1", "noted", "token", "schema", "audit"],
  ...["--json", "--take", "--skip", "--filter", "--payload", "--field", "--at", "--version", "--"],
  ...["-1", "99999999999999999999", "a=b", "@/etc/passwd", "-", "", "start", "stop", "config"],
  ...["--config", "--token", "--url", "help", "export", "--output", "/tmp/x", "\u0000", "é"],
];

const hostileArgs = (dice: Dice): string[] =>
  Array.from({ length: dice.pick([0, 1, 2, 4, 8, 1_200]) }, () =>
    dice.chance(0.8) ? dice.pick(vocabulary) : dice.text(12).toWellFormed(),
  );

/** Pointers that lead out, back, round in circles, or to very much. */
function lyingMessage(dice: Dice): Buffer {
  const number = (): number => dice.pick([0, 1, 2, 3, 7, 2 ** 28, 2 ** 29 - 1]);
  const pointer = (): bigint =>
    dice.pick([
      struct(dice.below(5) - 2, dice.below(3), dice.below(4)),
      list(dice.below(5) - 2, dice.below(8), number()),
      far(dice.below(3), dice.below(4), dice.chance(0.5) ? "double" : "single"),
      short("--json"),
      0n,
      BigInt(2 ** 32 - 1) << 32n,
    ]);
  const segment = (): Uint8Array =>
    words(
      ...Array.from({ length: 1 + dice.below(8) }, (_, index) =>
        index === 0 && dice.chance(0.6) ? struct(0, 0, 2) : pointer(),
      ),
    );
  const message = Buffer.from(
    framed(...Array.from({ length: dice.pick([1, 1, 2, 3, 511, 512]) }, segment)),
  );
  if (dice.chance(0.3)) message.writeUInt32LE(dice.pick([0x7ffffffe, 0xffffffff, 511]), 0);
  if (dice.chance(0.3)) message.writeUInt32LE(dice.pick([0xffffffff, 2 ** 19, 2 ** 20]), 4);
  return message;
}

/** The greeting of another node, which asks for no command. */
const hello = Buffer.from(
  "0000000007000000000000000100010001000000000000000100000002010000" +
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
  "hex",
);

function messageOf(dice: Dice, token: string): Buffer {
  const right = (): Buffer => Buffer.from(encodeRequest(rightArgs(dice), token));
  const kind = dice.below(20);
  if (kind < 9) return right();
  if (kind < 12) return Buffer.from(encodeRequest(hostileArgs(dice), token));
  if (kind < 15) return mutated(dice, right());
  if (kind < 18) return lyingMessage(dice);
  if (kind === 18) return dice.chance(0.5) ? hello : dice.bytes(60);
  const whose = dice.chance(0.3) ? undefined : mutatedText(dice, token).toWellFormed();
  return Buffer.from(encodeRequest(rightArgs(dice), whose));
}

/** Where the command says that dbx itself has failed. */
const failed = 1;

function judgeResponse({ exit, stdout, stderr }: Response): { said: Said; faults: string[] } {
  const kind = exit === 0 ? "answered" : "refused";
  const wordless = exit !== 0 && stderr === "" ? ["a refusal without a reason"] : [];
  const broken = exit === failed || /\(internal\)|"code":"internal"/.test(stderr);
  return {
    said: { word: `exit ${exit}`, kind },
    faults: [...wordless, ...(broken ? [`exit ${exit}: ${stdout}${stderr}`] : [])],
  };
}

export const socket: Target = {
  name: "socket",
  place: "admin",
  async attempt(goal, dice) {
    const messages = Array.from({ length: dice.pick([1, 1, 1, 2, 3]) }, () =>
      messageOf(dice, goal.token),
    );
    const bytes = Buffer.concat(messages);
    const port = goal.socket_port;
    const { received, hangs } = await exchange({ port }, cut(dice, bytes), { leaves: true });
    const frames = createFrameReader(wide);
    frames.push(received);
    const judged: ReturnType<typeof judgeResponse>[] = [];
    for (let frame = frames.next(); frame !== null; frame = frames.next()) {
      judged.push(judgeResponse(decodeResponse(frame)));
    }
    const none: Said = { word: "closed", kind: "refused" };
    const faults = [
      ...(hangs ? ["a connection stays open although its client has left"] : []),
      ...(frames.held() > 0 ? ["an answer that is not whole"] : []),
      ...judged.flatMap((one) => one.faults),
      ...betrayed(goal, received.toString()),
    ];
    const said = judged.length === 0 ? [none] : judged.map((one) => one.said);
    return after({ said, faults }, bytes.toString("hex"));
  },
};
