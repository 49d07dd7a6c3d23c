{{- define "ravelin.kinds" -}}
[apiroutes, backends, backendpolicies, authpolicies, ratelimitpolicies, plans]
{{- end -}}

{{/* What is read in the namespaces that are watched, and the statuses that are written there. */}}
{{- define "ravelin.objects" -}}
- apiGroups: [ravelin.dev]
  resources: {{ include "ravelin.kinds" . }}
  verbs: [list, watch]
- apiGroups: [ravelin.dev]
  resources:
  {{- range include "ravelin.kinds" . | fromYamlArray }}
  - {{ . }}/status
  {{- end }}
  verbs: [patch]
- apiGroups: [""]
  resources: [services, secrets, configmaps]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
{{- end -}}
