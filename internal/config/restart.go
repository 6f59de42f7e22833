package config

import (
	"reflect"
	"strings"
)

// RestartError is a new configuration that a running daemon can't take over.
type RestartError struct{ Keys []string }

func (e *RestartError) Error() string {
	return "can't change while the daemon runs: " + strings.Join(e.Keys, ", ") + "; restart it"
}

// CanReload tells whether a running daemon can go over from one configuration to another: a [RestartError] if they differ
// in more than the keys that carry reload:"live" in the struct. A section's tag counts for all keys in it.
func CanReload[C any](from, to *C) error {
	if keys := needRestart(reflect.ValueOf(from).Elem(), reflect.ValueOf(to).Elem(), ""); len(keys) > 0 {
		return &RestartError{keys}
	}
	return nil
}

func needRestart(from, to reflect.Value, path string) (keys []string) {
	if from.Kind() != reflect.Struct || isText(from.Type()) {
		if reflect.DeepEqual(from.Interface(), to.Interface()) {
			return nil
		}
		return []string{path}
	}
	for i := range from.NumField() {
		field, at := from.Type().Field(i), path
		if field.Tag.Get("reload") == "live" {
			continue
		}
		if !field.Anonymous {
			at = join(path, field.Tag.Get("yaml"))
		}
		keys = append(keys, needRestart(from.Field(i), to.Field(i), at)...)
	}
	return keys
}
