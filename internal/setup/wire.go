package setup

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Wanted is what Postfix needs.
type Wanted struct {
	// Milter is the socket as Postfix reaches it, e.g. unix:postfleet/milter.sock, relative to the queue directory so that
	// it is right with a chroot and without.
	Milter string
	// Capture: Postfix logs every line of its outbound conversations.
	Capture Capture
	// Relay: mail can go through other nodes; nil: as it is.
	Relay *Relay
}

// Capture says whether outbound conversations are to be in the log.
type Capture string

// The answers. CaptureAuto leaves it off where Postfix signs in to a relay: what it looks up for that, the password, would
// stand in the log in clear.
const (
	CaptureAuto Capture = "auto"
	CaptureOn   Capture = "on"
	CaptureOff  Capture = "off"
)

// debugPeers is the value of debug_peer_list that makes the SMTP client log its conversations with every peer
// (https://www.postfix.org/DEBUG_README.html#debug_peer).
const debugPeers = "0.0.0.0/0,[::]/0"

// wiring edits a scratch copy and notes what somebody should know.
type wiring struct {
	*scratch
	want  Wanted
	notes []string
}

func (w *wiring) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

// isOurs knows the milter by its socket, with options in braces or without.
func (w *wiring) isOurs(element string) bool {
	fields := elements(strings.Trim(element, "{} \t"))
	return len(fields) > 0 && fields[0] == w.want.Milter
}

// milterElement is the milter in a list. Where Postfix would let mail pass by a milter that is away, this one says that it
// doesn't for itself, and the others keep their way (postconf(5), smtpd_milters: since Postfix 3.0).
func (w *wiring) milterElement(ctx context.Context) (string, error) {
	action, err := w.expanded(ctx, "milter_default_action")
	if err != nil || action == "tempfail" {
		return w.want.Milter, err
	}
	return "{ " + w.want.Milter + ", default_action=tempfail }", nil
}

// milterLists are the parameters that name milters.
var milterLists = []string{"smtpd_milters", "non_smtpd_milters"}

func (w *wiring) wireMilter(ctx context.Context) error {
	element, err := w.milterElement(ctx)
	if err != nil {
		return err
	}
	for _, name := range milterLists {
		whole, err := w.expanded(ctx, name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(elements(whole), w.isOurs) {
			continue // perhaps by way of another: non_smtpd_milters = $smtpd_milters
		}
		value, err := w.value(ctx, name)
		if err != nil {
			return err
		}
		if err := w.set(ctx, name, with(value, element, w.isOurs)); err != nil {
			return err
		}
	}
	return w.eachOverride(ctx, func(o override) (string, error) {
		if o.value == "" {
			w.note("master.cf: %s has no milters by its own -o smtpd_milters=; its mail is neither signed nor recorded there", o.service)
			return "", nil
		}
		return with(o.value, element, w.isOurs), nil
	})
}

func (w *wiring) unwireMilter(ctx context.Context) error {
	for _, name := range milterLists {
		value, err := w.value(ctx, name)
		if err != nil {
			return err
		}
		if left := without(value, w.isOurs); left != value {
			if err := w.set(ctx, name, left); err != nil {
				return err
			}
		}
	}
	return w.eachOverride(ctx, func(o override) (string, error) { return without(o.value, w.isOurs), nil })
}

// eachOverride edits the milters that services of master.cf have of their own.
func (w *wiring) eachOverride(ctx context.Context, edit func(override) (string, error)) error {
	all, err := w.overrides(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.name != "smtpd_milters" || strings.HasPrefix(o.service, "postfleet-") {
			continue
		}
		value, err := edit(o)
		if err != nil {
			return err
		}
		if value == o.value {
			continue
		}
		if err := w.override(ctx, override{o.service, o.name, compact(value)}); err != nil {
			return err
		}
	}
	return nil
}

// clients are the services that send mail over SMTP.
func (w *wiring) clients(ctx context.Context) (keys []string, err error) {
	all, err := w.services(ctx)
	for _, one := range all {
		if one.command == "smtp" && strings.HasSuffix(one.key, "/unix") {
			keys = append(keys, one.key)
		}
	}
	return keys, err
}

func (w *wiring) wireCapture(ctx context.Context) error {
	if w.want.Capture == CaptureOff {
		return nil
	}
	secrets, err := w.expanded(ctx, "smtp_sasl_password_maps")
	if err != nil {
		return err
	}
	if secrets != "" {
		if w.want.Capture == CaptureAuto {
			w.note("outbound conversations are not captured: Postfix has relay passwords (smtp_sasl_password_maps) and would " +
				"write those that it looks up into its log. --capture=on does it all the same")
			return nil
		}
		w.note("with conversations captured Postfix writes the relay passwords that it looks up into its log (smtp_sasl_password_maps)")
	}
	all, err := w.overrides(ctx)
	if err != nil {
		return err
	}
	clients, err := w.clients(ctx)
	for _, key := range clients {
		at := slices.IndexFunc(all, func(o override) bool { return o.service == key && o.name == "debug_peer_list" })
		if at >= 0 {
			if all[at].value != debugPeers {
				w.note("master.cf: %s keeps its own debug_peer_list=%s", key, all[at].value)
			}
			continue
		}
		for _, o := range []override{{key, "debug_peer_list", debugPeers}, {key, "debug_peer_level", "1"}} {
			if err := w.override(ctx, o); err != nil {
				return err
			}
		}
	}
	return err
}

func (w *wiring) unwireCapture(ctx context.Context) error {
	all, err := w.overrides(ctx)
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.name != "debug_peer_list" || o.value != debugPeers {
			continue
		}
		if err := w.override(ctx, override{service: o.service, name: o.name}); err != nil {
			return err
		}
		if slices.Contains(all, override{o.service, "debug_peer_level", "1"}) {
			if err := w.override(ctx, override{service: o.service, name: "debug_peer_level"}); err != nil {
				return err
			}
		}
	}
	return nil
}
