package accounts

import (
	"fmt"
	"strings"
)

// Role is what an account may do. Roles are ordered: each may do what those below it may.
type Role int

// The roles. Nobody is the role of a request without an account.
const (
	Nobody   Role = iota
	Viewer        // looks at messages, transcripts, figures
	Operator      // and takes nodes out of service and back
	Admin         // and reads the audit log and manages settings
)

// Roles are the roles that an account can have, lowest first.
var Roles = []Role{Viewer, Operator, Admin}

var roleNames = map[Role]string{Nobody: "nobody", Viewer: "viewer", Operator: "operator", Admin: "admin"}

func (r Role) String() string { return roleNames[r] }

// May tells whether an account with role r may do what needs role needed.
func (r Role) May(needed Role) bool { return r >= needed }

// MarshalText writes the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the name of a role that an account can have.
func (r *Role) UnmarshalText(text []byte) error {
	role, err := ParseRole(string(text))
	if err != nil {
		return err
	}
	*r = role
	return nil
}

// ParseRole reads the name of a role that an account can have.
func ParseRole(name string) (Role, error) {
	names := make([]string, len(Roles))
	for i, role := range Roles {
		if names[i] = role.String(); names[i] == name {
			return role, nil
		}
	}
	return Nobody, fmt.Errorf("%q is not a role: expected one of %s", name, strings.Join(names, ", "))
}
