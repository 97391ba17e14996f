# The greeting between two nodes, with which every connection for replication begins, in clear. What
# follows it is TLS 1.3; src/replication/DESIGN.md says who proves what in it.
@0xdf2749081f1a2e2f;

struct ReplicationHello {
  # The first message of a connection, from whoever opened it.

  protocolVersion @0 :UInt16;
  # 2. EventDBX 1 says 1, which proved nothing, and is refused.

  expectedPublicKey @1 :Data;
  # In version 1 the key that the other node should have. Empty since, because it is in clear.
}

struct ReplicationHelloResponse {
  # The answer. After one that accepts, the next byte is the first of TLS.

  accepted @0 :Bool;
  # Whether the connection goes on.

  message @1 :Text;
  # `ok`, or why not, for people.
}
