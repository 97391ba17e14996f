# What a process plugin reads from its standard input: one message after the other in the standard
# framing, unpacked, without a prefix of its own. First an init, then events. Nothing is read back.
@0xd4b23bfa4df1bcd9;

struct PluginEnvelope {
  message :union {
    init @0 :PluginInit;
    event @1 :PluginEvent;
    ack @2 :PluginAck;
    # Not sent, and not read.
    error @3 :PluginError;
    # Not sent, and not read.
  }
}

struct PluginInit {
  # Which plugin this is; the first message of each process.

  pluginName @0 :Text;
  # As it is installed, not as the instance is labelled.

  version @1 :Text;
  target @2 :Text;
  # As `dbx plugin install` recorded it, such as x86_64-unknown-linux-gnu.

  transport @3 :Text;
  # Not set: this stream is the only way.
}

struct PluginEvent {
  # A committed event, and its aggregate as it was right after it.

  sequence @0 :UInt64;
  # Counts the deliveries to this plugin since it was configured; what is delivered again may have
  # its former number or a later one.

  aggregateType @1 :Text;
  aggregateId @2 :Text;
  eventType @3 :Text;
  eventVersion @4 :UInt64;
  eventId @5 :Text;
  # A UUID: the same whenever the event is delivered again.

  createdAtEpochMicros @6 :Int64;
  payloadJson @7 :Text;
  metadataJson @8 :Text;
  hash @9 :Text;
  merkleRoot @10 :Text;

  stateVersion @11 :UInt64;
  stateArchived @12 :Bool;
  stateMerkleRoot @13 :Text;
  stateEntries @14 :List(StateEntry);
  # In the order of keys.

  schemaJson @15 :Text;
  # The schema that is declared now; empty without one.

  extensionsJson @16 :Text;
  # Not set.
}

struct StateEntry {
  key @0 :Text;
  value @1 :Text;
  # Texts as they are; objects and arrays as JSON without blanks.
}

struct PluginAck {
  sequence @0 :UInt64;
}

struct PluginError {
  sequence @0 :UInt64;
  message @1 :Text;
}
