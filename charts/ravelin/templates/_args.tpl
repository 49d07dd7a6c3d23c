{{/* The flags of both halves, all in this file. */}}

{{- define "ravelin.socket" -}}
/run/ravelin/channel/snapshot.sock
{{- end -}}

{{- define "ravelin.controller.args" -}}
- controller
- --socket={{ include "ravelin.socket" . }}
- --admin=127.0.0.1:9902
- --installation={{ include "ravelin.name" . }}
- --leader-lease={{ include "ravelin.name" . }}
- --pod-selector=app.kubernetes.io/name=ravelin,app.kubernetes.io/instance={{ .Release.Name }}
- --hostname-ownership={{ .Values.hostnameOwnership }}
{{- if .Values.redis.existingSecret }}
- --shared-limits
{{- end }}
{{- with .Values.watchNamespaces }}
- --watch-namespaces={{ join "," . }}
{{- end }}
- --log={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
{{- range .Values.extraArgs.controller }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "ravelin.dataplane.args" -}}
- dataplane
- --socket={{ include "ravelin.socket" . }}
- --state=/var/lib/ravelin
- --http=0.0.0.0:8080
{{- if .Values.tls.enabled }}
- --https=0.0.0.0:8443
{{- end }}
- --session-key=/etc/ravelin/session/keys
- --probe=0.0.0.0:9900
- --admin=127.0.0.1:9901
- --drain-delay={{ .Values.drain.delaySeconds }}s
- --drain={{ .Values.drain.timeoutSeconds }}s
{{- with .Values.trustedProxies }}
- --trusted-proxies={{ join "," . }}
{{- end }}
{{- with .Values.proxyProtocol }}
- --proxy-protocol={{ join "," . }}
{{- end }}
{{- with .Values.redis }}
{{- if .existingSecret }}
- --redis-prefix={{ $.Release.Namespace }}/{{ include "ravelin.name" $ }}
- --redis-timeout={{ .timeout }}
{{- if .caKey }}
- --redis-ca=/run/ravelin/redis/ca.pem
{{- end }}
{{- end }}
{{- end }}
- --log={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
- --access-log={{ ternary "stderr" "off" .Values.log.access }}
- --audit-log={{ ternary "stderr" "off" .Values.log.audit }}
{{- range .Values.extraArgs.dataplane }}
- {{ . | quote }}
{{- end }}
{{- end -}}
