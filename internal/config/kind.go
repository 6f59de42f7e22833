package config

import (
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kind says whose file a configuration is.
type Kind string

// The two daemons.
const (
	KindMilter     Kind = "milter"
	KindAggregator Kind = "aggregator"
)

// KindOf tells by the top-level keys of a file whose it is, and by its name where they fit both. A file that isn't YAML
// goes by its name, and what is wrong with it is left to whoever loads it.
func KindOf(path string) (Kind, error) {
	text, err := read(path)
	if err != nil {
		return "", err
	}
	return kindOf(path, text), nil
}

func kindOf(path string, text []byte) Kind {
	byName := KindMilter
	if strings.Contains(filepath.Base(path), string(KindAggregator)) {
		byName = KindAggregator
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) == 0 || document.Content[0].Kind != yaml.MappingNode {
		return byName
	}
	milter, aggregator := 0, 0
	for i := 0; i < len(document.Content[0].Content); i += 2 {
		name := document.Content[0].Content[i].Value
		if _, known := fieldsOf(reflect.TypeFor[Milter]()).find(name); known {
			milter++
		}
		if _, known := fieldsOf(reflect.TypeFor[Aggregator]()).find(name); known {
			aggregator++
		}
	}
	switch {
	case milter > aggregator:
		return KindMilter
	case aggregator > milter:
		return KindAggregator
	}
	return byName
}
