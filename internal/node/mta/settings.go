package mta

import "context"

// Settings are Postfix's settings as postconf(1) prints them: main.cf with defaults and everything expanded, the services of
// master.cf, and their overrides.
type Settings struct{ Main, Master, Params string }

// Settings asks for all settings.
func (p *Postfix) Settings(ctx context.Context) (s Settings, err error) {
	for _, one := range []struct {
		into *string
		args []string
	}{{&s.Main, []string{"-x"}}, {&s.Master, []string{"-M"}}, {&s.Params, []string{"-x", "-P"}}} {
		if *one.into, err = p.postconf(ctx, one.args...); err != nil {
			return Settings{}, err
		}
	}
	return s, nil
}
