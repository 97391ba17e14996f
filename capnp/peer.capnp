# Between two nodes, inside a session in which both have proved who they are: one message asks, one
# answers. A message is in the standard framing, unpacked.
@0xe2b1c6a94d0f7735;

struct PeerRequest {
  # Asks for one operation. The next request is looked at after the answer.

  operation @0 :Text;
  # Its name, such as `listPositions`.

  input @1 :Data;
  # Its input as JSON, with exact numbers.
}

struct PeerAnswer {
  # What came of it.

  refused @0 :Bool;
  # Whether `body` is an error.

  body @1 :Data;
  # The operation's output as JSON; of a refusal the error: message, code, details.
}
