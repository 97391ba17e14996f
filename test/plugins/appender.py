#!/usr/bin/env python3
"""A process plugin that shares no code with dbx: it reads the stream by the published layouts alone
and appends each message to a file as a line of JSON. Python's standard library is all it needs.

Usage: appender.py FILE [BEHAVIOUR [NUMBER]]
       appender.py FILE told CONTROL    behaves as the file CONTROL says at the moment
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time


def read_exactly(count):
    data = b""
    while len(data) < count:
        piece = os.read(0, min(count - len(data), 65536))
        if not piece:
            if data:
                raise SystemExit("the stream ends within a message")
            return None
        data += piece
    return data


def read_message():
    head = read_exactly(4)
    if head is None:
        return None
    count = struct.unpack("<I", head)[0] + 1
    table = read_exactly(4 * count + (0 if count % 2 else 4))
    lengths = struct.unpack_from("<%dI" % count, table)
    return [read_exactly(8 * length) for length in lengths]


class Struct:
    def __init__(self, segments, segment, data, words, pointers):
        self.segments, self.segment, self.data = segments, segment, data
        self.words, self.pointers = words, pointers

    def number(self, form, offset):
        size = struct.calcsize(form)
        if offset + size > 8 * self.words:
            return 0
        return struct.unpack_from(form, self.segments[self.segment], self.data + offset)[0]

    def target(self, index):
        if index >= self.pointers:
            return None
        return follow(self.segments, self.segment, self.data + 8 * (self.words + index))

    def struct(self, index):
        return self.target(index)

    def text(self, index):
        found = self.target(index)
        if found is None:
            return None
        segment, start, count = found
        return self.segments[segment][start : start + count - 1].decode("utf-8")

    def structs(self, index):
        return self.target(index) or []


def follow(segments, segment, at):
    low, high = struct.unpack_from("<II", segments[segment], at)
    if low == 0 and high == 0:
        return None
    if low & 3 == 2:
        pad_at = (low >> 3) * 8
        if low & 4:
            pad_low, pad_high = struct.unpack_from("<II", segments[high], pad_at)
            tag = struct.unpack_from("<II", segments[high], pad_at + 8)
            return content(segments, tag[0], tag[1], pad_high, (pad_low >> 3) * 8)
        return follow(segments, high, pad_at)
    offset = struct.unpack("<i", struct.pack("<I", low))[0] >> 2
    return content(segments, low, high, segment, at + 8 + 8 * offset)


def content(segments, low, high, segment, start):
    if low & 3 == 0:
        return Struct(segments, segment, start, high & 0xFFFF, high >> 16)
    code, count = high & 7, high >> 3
    if code == 2:
        return segment, start, count
    if code == 7:
        tag_low, tag_high = struct.unpack_from("<II", segments[segment], start)
        words, pointers = tag_high & 0xFFFF, tag_high >> 16
        step = 8 * (words + pointers)
        return [
            Struct(segments, segment, start + 8 + step * index, words, pointers)
            for index in range(tag_low >> 2)
        ]
    raise SystemExit("a list of an unexpected kind: %d" % code)


def decode(segments):
    envelope = follow(segments, 0, 0)
    tag, body = envelope.number("<H", 0), envelope.struct(0)
    if tag == 0:
        names = ["pluginName", "version", "target", "transport"]
        return {"init": {name: body.text(index) for index, name in enumerate(names)}}
    if tag != 1:
        raise SystemExit("an unexpected message: %d" % tag)
    return {
        "event": {
            "sequence": body.number("<Q", 0),
            "aggregateType": body.text(0),
            "aggregateId": body.text(1),
            "eventType": body.text(2),
            "eventVersion": body.number("<Q", 8),
            "eventId": body.text(3),
            "createdAtEpochMicros": body.number("<q", 16),
            "payloadJson": body.text(4),
            "metadataJson": body.text(5),
            "hash": body.text(6),
            "merkleRoot": body.text(7),
            "stateVersion": body.number("<Q", 24),
            "stateArchived": bool(body.number("<B", 32) & 1),
            "stateMerkleRoot": body.text(8),
            "stateEntries": [[entry.text(0), entry.text(1)] for entry in body.structs(9)],
            "schemaJson": body.text(10),
            "extensionsJson": body.text(11),
        }
    }


def obey(control):
    """Returns when there is an event to read; whatever it is told, it does until it is told otherwise."""
    while True:
        with open(control, encoding="utf-8") as file:
            told = file.read().strip()
        if told == "leave":
            os._exit(3)
        if told == "linger":
            time.sleep(0.4)
            os._exit(3)
        if told == "close":
            os.close(0)
            time.sleep(3600)
        if told != "hang":
            return told
        time.sleep(0.01)


def main():
    path, behaviour = sys.argv[1], (sys.argv[2:] + ["plain"])[0]
    is_told = behaviour == "told"
    number = 0 if is_told else int((sys.argv[3:] + ["0"])[0])
    out = open(path, "a", encoding="utf-8")

    def tell(line):
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        out.flush()

    tell({"started": os.getpid(), "cwd": os.getcwd(), "env": dict(os.environ),
          "fds": sorted(os.listdir("/proc/self/fd"))[:-1] if os.path.isdir("/proc") else []})
    if behaviour == "die-at-start":
        raise SystemExit(number)
    if behaviour == "never-read":
        time.sleep(3600)
    if behaviour == "close-input":
        os.close(0)
        time.sleep(3600)
    if behaviour == "ignore-sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "grandchild":
        child = subprocess.Popen(["sleep", "3600"])
        tell({"grandchild": child.pid})
    if behaviour == "noise":
        sys.stdout.write("one line\n\n  \ntwo \u202e words\x1b[31m\n")
        sys.stdout.flush()
        os.write(1, b"bytes \xff\xfe\nhalf ")
        os.write(1, b"a line\r\n" + b"x" * 10000 + b"\nno end")
        for _ in range(number):
            os.write(2, b"e" * 99 + b"\n")
    seen = 0
    while True:
        told = obey(sys.argv[3]) if is_told else ""
        message = read_message()
        if message is None:
            break
        decoded = decode(message)
        if told == "die" and "event" in decoded:
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "slow":
            time.sleep(0.002)
        if told == "babble":
            os.write(1, os.urandom(64))
            os.write(2, os.urandom(64) + b"\n")
        if behaviour == "die-mid-event" and "event" in decoded and seen == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if behaviour == "poison" and '"poison"' in str(decoded.get("event", {}).get("payloadJson")):
            time.sleep(number / 1000)
            os._exit(66)
        tell(decoded)
        if "event" not in decoded:
            continue
        seen += 1
        if behaviour == "exit-after-each":
            os._exit(0)
        if behaviour == "slow":
            time.sleep(number / 1000)
        if behaviour == "late-death" and seen == number:
            time.sleep(0.1)
            os._exit(67)
    if behaviour == "ignore-sigterm":
        tell({"input": "ended"})
        while True:
            time.sleep(3600)
    tell({"ended": True})


main()
