package setup

import (
	"context"
	"slices"
	"strings"
)

// Relay is the part of the configuration that lets mail go through other nodes.
type Relay struct {
	Off      bool      // nobody answers Map: Postfix is no longer to ask. The services stay, since mail may wait for them
	Map      string    // for sender_dependent_default_transport_maps
	Services []Service // of master.cf
}

// Service is a line of master.cf, with its -o options.
type Service struct {
	Name string
	Type string
	Line string // all of it
}

const transportMaps = "sender_dependent_default_transport_maps"

func (w *wiring) isOurMap(element string) bool {
	return w.want.Relay != nil && element == w.want.Relay.Map
}

func (w *wiring) wireRelay(ctx context.Context) error {
	if w.want.Relay == nil {
		return nil
	}
	if w.want.Relay.Off {
		asked, err := w.unwireMap(ctx)
		if asked {
			w.note("relaying is off: Postfix would wait for the answer of %s. What is in master.cf for it stays, for mail that is on its way", w.want.Relay.Map)
		}
		return err
	}
	there, err := w.services(ctx)
	if err != nil {
		return err
	}
	for _, one := range w.want.Relay.Services {
		key := one.Name + "/" + one.Type
		if slices.ContainsFunc(there, func(s service) bool { return s.key == key }) {
			err = w.complete(ctx, key, one.Line)
		} else {
			_, err = w.postconf(ctx, "-M", key+"="+one.Line)
		}
		if err != nil {
			return err
		}
	}
	value, err := w.value(ctx, transportMaps)
	if err != nil {
		return err
	}
	return w.set(ctx, transportMaps, with(value, w.want.Relay.Map, w.isOurMap))
}

// complete adds the options that a service lacks, as one from an earlier version may. One that says otherwise may be meant so.
func (w *wiring) complete(ctx context.Context, key, line string) error {
	all, err := w.overrides(ctx)
	if err != nil {
		return err
	}
	for _, option := range strings.Split(line, " -o ")[1:] {
		if inner, braced := strings.CutPrefix(option, "{"); braced { // around a value with blanks, in master.cf alone
			option = strings.TrimSuffix(inner, "}")
		}
		name, value, _ := strings.Cut(option, "=")
		at := slices.IndexFunc(all, func(o override) bool { return o.service == key && o.name == name })
		if at < 0 {
			if err := w.addOption(ctx, key, name, value); err != nil {
				return err
			}
		} else if all[at].value != value {
			w.note("master.cf: %s keeps its own %s=%s, expected %q", key, name, all[at].value, value)
		}
	}
	return nil
}

// addOption adds an option to a service. What postconf -P doesn't take, a value with blanks, goes behind the entry as it is.
func (w *wiring) addOption(ctx context.Context, key, name, value string) error {
	if !strings.ContainsAny(value, " \t") {
		_, err := w.postconf(ctx, "-P", key+"/"+name+"="+value)
		return err
	}
	entry, err := w.postconf(ctx, "-M", key)
	if err != nil {
		return err
	}
	_, err = w.postconf(ctx, "-M", key+"="+strings.TrimSpace(entry)+" -o {"+name+"="+value+"}")
	return err
}

// unwireMap takes the map out, and tells whether it was there.
func (w *wiring) unwireMap(ctx context.Context) (bool, error) {
	value, err := w.value(ctx, transportMaps)
	if err != nil {
		return false, err
	}
	left := without(value, w.isOurMap)
	if left == value {
		return false, nil
	}
	return true, w.set(ctx, transportMaps, left)
}

func (w *wiring) unwireRelay(ctx context.Context) error {
	if w.want.Relay == nil {
		return nil
	}
	if _, err := w.unwireMap(ctx); err != nil {
		return err
	}
	there, err := w.services(ctx)
	if err != nil {
		return err
	}
	for _, one := range w.want.Relay.Services {
		key := one.Name + "/" + one.Type
		if slices.ContainsFunc(there, func(s service) bool { return s.key == key }) {
			if _, err := w.postconf(ctx, "-MX", key); err != nil {
				return err
			}
		}
	}
	return nil
}
