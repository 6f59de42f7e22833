package mta

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/postfleet/postfleet/internal/fleet"
)

// takes looks for what the instance takes at all. A Postfix that was built without libicu (NO_EAI) has "no" for the default of
// smtputf8_enable, where any other has an expression or "yes", and doesn't heed the setting.
func (p *Postfix) takes(ctx context.Context) (*fleet.MailLimits, error) {
	set, err := p.postconf(ctx, "-x", "message_size_limit", "smtputf8_enable")
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(set) {
		name, value, _ := strings.Cut(line, "=")
		values[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	limits := &fleet.MailLimits{}
	if limits.Size, err = strconv.ParseUint(values["message_size_limit"], 10, 63); err != nil {
		return nil, fmt.Errorf("postconf: message_size_limit is %q, expected a number", values["message_size_limit"])
	}
	if values["smtputf8_enable"] == "yes" {
		built, err := p.postconf(ctx, "-dh", "smtputf8_enable")
		if err != nil {
			return nil, err
		}
		limits.UTF8 = built != "no"
	}
	return limits, nil
}
