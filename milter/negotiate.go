package milter

import (
	"fmt"
	"net"
	"sync"

	gomilter "github.com/d--j/go-milter"
)

// What is asked of the MTA: to add header fields, to take them out where it lets milters do that, and every event but unknown commands, each without a reply until the end of
// the message. OptRcptRej shows recipients that Postfix refused; OptHeaderLeadingSpace shows header values byte for byte.
const (
	neededActions  = gomilter.OptAddHeader
	wantedActions  = neededActions | gomilter.OptChangeHeader
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

// quietLibrary: go-milter warns through a package variable, per packet and unlimited. The guard has counted and logged
// whatever it would complain about.
var quietLibrary = sync.OnceFunc(func() { gomilter.LogWarning = func(string, ...any) {} })

// serve has go-milter serve the connection, in a goroutine of its own. Each connection gets a library server to itself, since
// that is how a session can know its connection.
func (g *guard) serve() {
	g.session = &session{server: g.server, opened: g.server.options.Clock()}
	library := gomilter.NewServer(
		gomilter.WithMilter(func() gomilter.Milter { return g.session }),
		gomilter.WithActions(wantedActions),
		gomilter.WithProtocols(wantedProtocol),
		gomilter.WithNegotiationCallback(negotiate),
		gomilter.WithMacroRequest(gomilter.StageConnect, connectMacros),
		gomilter.WithMacroRequest(gomilter.StageHelo, heloMacros),
		gomilter.WithMacroRequest(gomilter.StageMail, mailMacros),
		gomilter.WithMacroRequest(gomilter.StageRcpt, rcptMacros),
		gomilter.WithMacroRequest(gomilter.StageData, dataMacros),
		gomilter.WithMacroRequest(gomilter.StageEOH, dataMacros),
		gomilter.WithMacroRequest(gomilter.StageEOM, dataMacros),
	)
	_ = library.Serve(&once{guard: g}) // returns when once has nothing more
}

// once is a listener that has one connection to give.
type once struct {
	guard *guard
	given bool
}

func (o *once) Accept() (net.Conn, error) {
	if o.given {
		return nil, net.ErrClosed
	}
	o.given = true
	return o.guard, nil
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return o.guard.LocalAddr() }

// negotiate takes what the MTA offers of what is wanted. Only adding headers is a must: without the protocol bits the library
// answers every event.
func negotiate(mtaVersion, _ uint32, mtaActions, _ gomilter.OptAction, mtaProtocol, _ gomilter.OptProtocol, _ gomilter.DataSize,
) (version uint32, actions gomilter.OptAction, protocol gomilter.OptProtocol, size gomilter.DataSize, err error) {
	if mtaVersion < minVersion {
		return 0, 0, 0, 0, fmt.Errorf("milter protocol version %d: expected %d or later", mtaVersion, minVersion)
	}
	if mtaActions&neededActions != neededActions {
		return 0, 0, 0, 0, fmt.Errorf("the MTA doesn't let milters add header fields (it offers %s)", mtaActions)
	}
	actions = mtaActions & (wantedActions | gomilter.OptSetMacros)
	return min(mtaVersion, gomilter.MaxServerProtocolVersion), actions, mtaProtocol & wantedProtocol, gomilter.DataSize64K, nil
}
