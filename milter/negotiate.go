package milter

import (
	"fmt"

	gomilter "github.com/d--j/go-milter"
)

// What is asked of the MTA: to add header fields, and every event but unknown commands, each without a reply until the end of
// the message. OptRcptRej shows recipients that Postfix refused; OptHeaderLeadingSpace shows header values byte for byte.
const (
	wantedActions  = gomilter.OptAddHeader
	wantedProtocol = gomilter.OptNoReplies | gomilter.OptHeaderLeadingSpace | gomilter.OptNoUnknown | gomilter.OptRcptRej
	minVersion     = 2
)

// The macros that are asked for, whatever milter_…_macros in main.cf says. The queue id comes with DATA; where smtpd opened
// the queue file before, with RCPT TO.
var (
	connectMacros = []gomilter.MacroName{gomilter.MacroMTAFQDN, gomilter.MacroDaemonName, gomilter.MacroDaemonPort,
		gomilter.MacroClientAddr, gomilter.MacroClientName, gomilter.MacroClientPort}
	heloMacros = []gomilter.MacroName{gomilter.MacroTlsVersion, gomilter.MacroCipher, gomilter.MacroCipherBits}
	mailMacros = []gomilter.MacroName{gomilter.MacroQueueId, gomilter.MacroAuthType, gomilter.MacroAuthAuthen}
	rcptMacros = []gomilter.MacroName{gomilter.MacroQueueId, gomilter.MacroRcptMailer, gomilter.MacroRcptHost,
		gomilter.MacroRcptAddr}
	dataMacros = []gomilter.MacroName{gomilter.MacroQueueId}
)

// negotiate takes what the MTA offers of what is wanted. Only adding headers is a must: without the protocol bits the library
// answers every event.
func negotiate(mtaVersion, _ uint32, mtaActions, _ gomilter.OptAction, mtaProtocol, _ gomilter.OptProtocol, _ gomilter.DataSize,
) (version uint32, actions gomilter.OptAction, protocol gomilter.OptProtocol, size gomilter.DataSize, err error) {
	if mtaVersion < minVersion {
		return 0, 0, 0, 0, fmt.Errorf("milter protocol version %d: expected %d or later", mtaVersion, minVersion)
	}
	if mtaActions&wantedActions != wantedActions {
		return 0, 0, 0, 0, fmt.Errorf("the MTA doesn't let milters add header fields (it offers %s)", mtaActions)
	}
	actions = mtaActions & (wantedActions | gomilter.OptSetMacros)
	return min(mtaVersion, gomilter.MaxServerProtocolVersion), actions, mtaProtocol & wantedProtocol, gomilter.DataSize64K, nil
}
