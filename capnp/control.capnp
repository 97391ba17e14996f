# The control socket: one message asks for a command, one answers with what it printed.
# The stream carries messages in the standard framing, unpacked, without a prefix of its own.
@0xbdbbb6da8dc7b1e8;

struct CliRequest {
  # Asks for one command. The next request of a connection is looked at after the answer.

  args @0 :List(Text);
  # The words after `dbx`, as a shell would hand them over.

  token @1 :Text;
  # Whom the command acts for: the value of a token, as `dbx token generate` printed it.
}

struct CliResponse {
  # What the command did, as a shell would see it.

  exitCode @0 :Int32;
  # 0 for success; otherwise as in the README's table of exit codes.

  stdout @1 :Text;
  # Data: everything that the command printed.

  stderr @2 :Text;
  # Words: errors, warnings and hints.
}
