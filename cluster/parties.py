"""The names of the parties that every datacenter has, beside its hosts and arrays."""

VRM = "vrm"
#: Power control of all hosts.
BMC = "bmc"
#: Answers pings on the management plane: the arbitration address of hosts that hear nobody.
ARBITER = "arbiter"
#: Where clients enter, and where the clients of the datacenter file live.
GATEWAY = "gateway"

#: Launches and keeps all others; it tells of the experiments that are carried out.
LAUNCHER = "launcher"

PARTIES = (VRM, BMC, ARBITER, GATEWAY, LAUNCHER)
